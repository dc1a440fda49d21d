"""KuaiRand-Pure: 2 users and 3 videos, over a fortnight."""

from __future__ import annotations

from tests.integration.training.data.convert.sources.source import (
    Source,
    changed_lines,
    encoded,
    toggled,
)

LOG = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,"
    "is_hate,long_view,play_time_ms,duration_ms,profile_stay_time,comment_stay_time,"
    "is_profile_enter,is_rand,tab\n"
)
USER = (
    "user_id,user_active_degree,is_lowactive_period,is_live_streamer,is_video_author,"
    "follow_user_num,follow_user_num_range,fans_user_num,fans_user_num_range,friend_user_num,"
    "friend_user_num_range,register_days,register_days_range,"
    + ",".join(f"onehot_feat{k}" for k in range(18))
    + "\n"
)
VIDEO = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,"
    "server_width,server_height,music_id,music_type,tag\n"
)
EARLY = "log_standard_4_08_to_4_21_pure.csv"
LATE = "log_standard_4_22_to_5_08_pure.csv"
RANDOM = "log_random_4_22_to_5_08_pure.csv"
VIDEOS, USERS = "video_features_basic_pure.csv", "user_features_pure.csv"
CLICK = 5  # the column is_click


def line(user: int, video: int, date: int, time_ms: int, click: int, rand: int = 0) -> str:
    """Return a line of a log."""
    return f"{user},{video},{date},900,{time_ms},{click},{'0,' * 10}0,{rand},1\n"


FILES = {
    EARLY: LOG
    + line(7, 10, 20220408, 1649400000500, 1)
    + line(7, 20, 20220408, 1649400001000, 0)
    + line(8, 10, 20220409, 1649480000000, 0)  # after 1 of 1
    + line(8, 10, 20220409, 1649480001000, 0),  # still 1 of 1: its own day does not count
    LATE: LOG
    + line(7, 10, 20220422, 1650600000000, 1)  # after 1 of 3
    + line(8, 20, 20220423, 1650700000000, 1),  # after 0 of 1
    RANDOM: LOG
    + line(8, 10, 20220422, 1650600000000, 1, 1)
    + line(7, 10, 20220423, 1650700000000, 0, 1)  # after 2 of 4: random rows do not count
    + line(7, 30, 20220423, 1650700001000, 1, 1),  # never shown by the standard policy
    VIDEOS: VIDEO
    + "10,123,NORMAL,2022-04-10,LongImport,0.0,87433.0,720.0,1280.0,9155697141,9.0,39\n"
    '20,456,NORMAL,2022-04-10,Kmovie,1.0,218066.0,720.0,1280.0,,,"12,39"\n'
    "30,456,AD,2022-04-10,,1.0,,,,,,\n",
    USERS: USER
    + '7,full_active,0,0,0,5,"(0,10]",0,0,0,0,99,61-90,0,1'
    + ",0" * 16
    + '\n8,UNKNOWN,0,0,0,50,"(10,50]",0,0,0,0,99,61-90,,1'
    + ",0" * 16
    + "\n",
}

SOURCE = Source(
    files=encoded(FILES),
    flips=tuple(
        encoded({name: text})
        for name in (EARLY, LATE, RANDOM)
        for text in changed_lines(FILES[name], toggled(",", CLICK))
    ),
)
