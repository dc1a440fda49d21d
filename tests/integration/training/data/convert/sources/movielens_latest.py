"""MovieLens "latest": 3 users and 3 films; the third was never rated."""

from __future__ import annotations

from tests.integration.training.data.convert.sources.source import Source, changed_lines, encoded

RATINGS, MOVIES, TAGS = "ratings.csv", "movies.csv", "tags.csv"

FILES = {
    # The owners order lines by user and film, not by time.
    RATINGS: "userId,movieId,rating,timestamp\n"
    "1,10,4,1000000000\n"
    "1,20,3.5,1000000005\n"
    "2,10,0.5,1000000005\n"
    "2,20,5.0,1000000010\n"
    "3,10,4.5,1000000010\n"
    "3,20,2,1000000020\n",
    MOVIES: "movieId,title,genres\n"
    '10,"American President, The (1995)",Comedy|Drama|Romance\n'
    '20,"Misérables, Les (1995)",Drama\n'
    "30,Xyzzy (2001),(no genres listed)\n",
    TAGS: "userId,movieId,tag,timestamp\n"
    '3,10,"politics, witty",1000000001\n'
    "1,20,musical,1000000100\n",
}


def _flipped(line: str) -> str:
    user, film, rating, time = line.split(",")
    return ",".join([user, film, "1" if float(rating) >= 4 else "5", time])


SOURCE = Source(
    files=encoded(FILES),
    flips=tuple(encoded({RATINGS: text}) for text in changed_lines(FILES[RATINGS], _flipped)),
    uniform=False,
)
