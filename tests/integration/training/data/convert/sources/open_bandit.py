"""Open Bandit: the campaign ``men`` with 3 users and 2 items, over three days."""

from __future__ import annotations

from tests.integration.training.data.convert.sources.source import (
    Source,
    changed_lines,
    encoded,
    toggled,
)

LOG = (
    ",timestamp,item_id,position,click,propensity_score,user_feature_0,user_feature_1,"
    "user_feature_2,user_feature_3,user-item_affinity_0,user-item_affinity_1\n"
)
ITEMS = ",item_id,item_feature_0,item_feature_1,item_feature_2,item_feature_3\n"
BTS, RANDOM = "bts/men/men.csv", "random/men/men.csv"
BTS_ITEMS, RANDOM_ITEMS = "bts/men/item_context.csv", "random/men/item_context.csv"
CLICK = 4  # the column click

FILES = {
    BTS: LOG + "0,2019-11-24 23:59:59.500000+00:00,0,1,1,0.7,aaaaaaaa1,b,c,d,0.0,0.0\n"
    "1,2019-11-25 00:00:00+00:00,0,3,0,0.25,aaaaaaaa1,b,c,e,1.0,0.0\n"
    "2,2019-11-25 10:00:00.250000+00:00,0,2,1,1e-06,aaaaaaaa1,b,c,d,1.0,0.0\n"
    "3,2019-11-26 10:00:00.250000+00:00,1,2,0,0.5,aaaaaaaa1,b,c,d,1.0,0.0\n",
    RANDOM: LOG
    + "0,2019-11-25 01:00:00+00:00,0,1,1,0.5,aaaaaaaa1,b,c,e,0.0,0.0\n"
    + "1,2019-11-26 01:00:00+00:00,0,2,0,0.5,ffffffff2,b,c,e,0.0,0.0\n",
    BTS_ITEMS: ITEMS + "0,0,-0.5,p,q,r\n1,1,0.75,p,s,r\n",
    RANDOM_ITEMS: ITEMS + "0,0,-0.5,P,Q,R\n1,1,0.75,P,S,R\n",  # other hashes
}

SOURCE = Source(
    files=encoded(FILES),
    flips=tuple(
        encoded({name: text})
        for name in (BTS, RANDOM)
        for text in changed_lines(FILES[name], toggled(",", CLICK))
    ),
    optional=frozenset({RANDOM_ITEMS}),
)
