"""KuaiRec: 4 users and 3 videos, over three days."""

from __future__ import annotations

from collections.abc import Iterator

from tests.integration.training.data.convert.sources import kuairand
from tests.integration.training.data.convert.sources.source import Source, encoded

MATRIX = "user_id,video_id,play_duration,video_duration,time,date,timestamp,watch_ratio\n"
DAILY = (
    "video_id,date,author_id,video_tag_name,show_cnt,play_cnt,play_progress,like_cnt,share_cnt\n"
)
USER = kuairand.USER
BIG_FILE, SMALL_FILE = "big_matrix.csv", "small_matrix.csv"
DAILY_FILE, CATEGORIES_FILE = "item_daily_features.csv", "item_categories.csv"
CAPTIONS = (
    "video_id,manual_cover_text,caption,topic_tag\n"
    '3,UNKNOWN,"Noodles, by hand\nand fast",[food]\n'
    "5,UNKNOWN,UNKNOWN,[]\n"
    "9,UNKNOWN,,[],surplus\n"
)

# The owners' times are Beijing's: midnight of 5 July 2020 there is 1593878400 in unix seconds.
FILES = {
    BIG_FILE: MATRIX + "0,3,13838,10867,2020-07-05 00:08:23.438,20200705,1593878903.438,1.2733965\n"
    "0,3,30000,10000,2020-07-06 00:00:01.0,20200706,1593964801.0,3.0\n"
    "1,3,20000,10000,2020-07-06 12:00:00.0,20200706,1594008000.0,2.0\n"  # not over 2
    "1,5,20001,10000,2020-07-06 12:01:00.0,20200706,1594008060.0,2.0001\n"
    "1,9,1000,10000,2020-07-07 12:00:00.0,20200707,1594094400.0,0.1\n"
    "14,5,90000,10000,2020-07-07 12:00:00.0,20200707,1594094400.0,9.0\n"  # small has it too
    "2,3,90000,10000,2020-07-07 13:00:00.0,20200707,1594098000.0,9.0\n"
    "2,5,1,10000,2020-07-07 14:00:00.0,20200707,1594101600.0,0.0001\n",
    SMALL_FILE: MATRIX
    + "14,5,4381,6067,2020-07-06 05:27:48.378,20200706.0,1593984468.378,0.722103\n"
    "14,3,22422,10867,2020-07-07 05:29:09.479,20200707.0,1594070949.479,2.063311\n"
    "14,9,11919,6067,,,,1.964562\n",  # about 4 % have no time
    DAILY_FILE: DAILY + '3,20200705,11,"music, pop",100,40,0.5,4,1\n'
    "3,20200706,11,,200,50,0.6,5,1\n"
    "5,20200705,12,,0,1,0.0,0,0\n"
    "5,20200706,12,,30,12,,2,0\n"
    "5,20200706,12,,99,99,,99,0\n"  # listed twice: the first row counts
    "3,20200707,11,,7,7,0.7,7,1\n",
    CATEGORIES_FILE: 'video_id,feat\n3,[8]\n5,"[27, 9]"\n9,"[9]"\n',
}


def _flips() -> Iterator[dict[str, str]]:
    """Yield, for each row, its matrix with the opposite outcome and its video's day with a play."""
    for name in (BIG_FILE, SMALL_FILE):
        header, *rows = FILES[name].splitlines(keepends=True)
        for number, row in enumerate(rows):
            user, video, *_, date, _, ratio = row.split(",")
            if name == BIG_FILE and (user, video) == ("14", "5"):
                continue  # not an impression: the small matrix has the pair
            other = row.replace(ratio, "0.5\n" if float(ratio) > 2 else "2.5\n")
            yield {
                name: "".join([header, *rows[:number], other, *rows[number + 1 :]]),
                DAILY_FILE: _with_a_play(video, date.removesuffix(".0")),
            }


def _with_a_play(video: str, date: str) -> str:
    """Return the daily statistics with one more play and like of ``video`` on ``date``."""
    header, *rows = FILES[DAILY_FILE].splitlines(keepends=True)
    for number, row in enumerate(rows):
        if row.startswith(f"{video},{date},"):
            *start, shows, plays, progress, likes, shares = row.split(",")
            counts = [shows, str(int(plays) + 1), progress, str(int(likes) + 1), shares]
            rows[number] = ",".join([*start, *counts])
            break
    return "".join([header, *rows])


SOURCE = Source(files=encoded(FILES), flips=tuple(encoded(flip) for flip in _flips()))
