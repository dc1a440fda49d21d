"""MovieLens-1M: 2 users and 3 films; in Latin-1."""

from __future__ import annotations

from tests.integration.training.data.convert.sources.source import Source, changed_lines, encoded

RATINGS, USERS, MOVIES = "ratings.dat", "users.dat", "movies.dat"

# 86400 a day: days 11313 (978307200 is 1 January 2001), 11314 and 11316.
FILES = {
    RATINGS: "1::1193::5::978300760\n"  # 31 December, the first day
    "2::1193::3::978307199\n"
    "1::73::4::978307200\n"
    "2::1193::4::978310000\n"  # after 1 of 2
    "1::1193::1::978310001\n"  # still: its own day does not count
    "2::73::2::978500000\n",  # after 1 of 1
    USERS: "1::F::1::10::48067\n2::M::56::10::70072\n",
    MOVIES: "73::Misérables, Les (1995)::Drama|Musical\n"
    '1193::One Flew Over the "Cuckoo\'s" Nest (1975)::Drama\n'
    "2::Jumanji (1995)::Children's\n",
}


def _flipped(line: str) -> str:
    user, film, rating, time = line.split("::")
    return "::".join([user, film, "1" if rating in "45" else "5", time])


SOURCE = Source(
    files=encoded(FILES, "latin-1"),
    flips=tuple(
        encoded({RATINGS: text}) for text in changed_lines(FILES[RATINGS], _flipped, header=0)
    ),
    uniform=False,
)
