"""Made-up titles whose words belong to themes, for the demo on texts."""

from __future__ import annotations

import numpy as np

from training.data.simulate.worlds import TextContent
from training.media.encoder import media_packages
from training.media.registry import open_encoder

# A theme a line. No title names its theme: the encoder has to know which words belong together.
_THEMES = """
saxophone solos, bebop piano, a swing trio, brushed drums, a smoky trumpet, upright bass walks
a barrel wave, paddling out, waxing a longboard, the reef break, a wetsuit in winter, big swell
a queen sacrifice, the Sicilian defence, rook endings, a blitz tournament, castling late, stalemates
miso broth, tonkotsu noodles, soft-boiled eggs in soy, chashu pork, dashi from kelp, udon by hand
a wall run, rooftop jumps, a precision landing, vaulting rails, a backflip off a ledge, free running
folding paper cranes, a paper dragon, crease patterns, wet-folding an owl, paper boats, paper stars
a modular synth, warehouse raves, a four-on-the-floor beat, acid basslines, a drum machine, DJ mixes
growing tomatoes, pruning roses, compost heaps, spring bulbs, a herb bed, slugs on the lettuce
a gravel hairpin, co-driver notes, a muddy stage, a turbo engine swap, handbrake turns, winter tyres
a vanishing coin, card shuffles, a rabbit from a hat, mind reading, rope escapes, a levitating ring
fiddle bowing, a string quartet, vibrato, rosin and horsehair, a concerto cadenza, tuning by ear
bouldering holds, a granite overhang, belaying partners, chalk and grip, an alpine ridge, rappelling
sourdough starters, cinnamon rolls, laminated croissants, rye loaves, choux pastry, burnt cheesecake
stand-up jokes, an improv sketch, heckler replies, a parody of the news, bad puns, a prank call
the downward dog, sun salutations, breathing for calm, a headstand, hip openers, a lotus pose
aerial footage, a quadcopter build, propeller repairs, an FPV race, volcano flights, gimbal shake
throwing clay bowls, a raku kiln, celadon glaze, handles for mugs, a wheel, cracked porcelain
cross-body leads, a Cuban rumba, spinning partners, footwork on two, mambo steps, a ballroom night
kickflips, a half-pipe run, grinding a rail, new griptape, ollies down stairs, carving an empty pool
a soprano aria, the mezzo's death scene, La Scala, a tenor's high C, overtures, librettos
"""
_FORMS = (
    *("{}", "{} for beginners", "{} at midnight", "{}, done slowly"),
    *("{}: what nobody says", "{} in five minutes", "{} gone wrong"),
)
_BATCH = 32


def theme_titles() -> list[list[str]]:
    """Return the titles of each theme."""
    themes = [line.split(", ") for line in _THEMES.strip().splitlines()]
    return [[_title(form, subject) for subject in theme for form in _FORMS] for theme in themes]


def text_content() -> TextContent:
    """Encode the titles; raises ConfigError where the packaged text encoder is missing."""
    themes = theme_titles()
    titles = [title for theme in themes for title in theme]
    with media_packages():
        encoder = open_encoder(None, "text")
    inputs = [encoder.prepare(title.encode()) for title in titles]
    batches = [inputs[start : start + _BATCH] for start in range(0, len(inputs), _BATCH)]
    vectors = np.concatenate([encoder.encode(batch) for batch in batches])
    return TextContent(titles, np.repeat(np.arange(len(themes)), [*map(len, themes)]), vectors)


def _title(form: str, subject: str) -> str:
    title = form.format(subject)
    return title[0].upper() + title[1:]
