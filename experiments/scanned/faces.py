"""Fonts of this machine, by kind: script and style.

A kind lists the files that look right for it, so a folder of fonts always gives the same faces. A file is used for the languages
whose letters it has. DejaVu, which matplotlib brings, has Latin, Greek, Cyrillic and Arabic. Packages of Debian with the others:

    apt-get install fonts-liberation2 fonts-oldstandard fonts-linuxlibertine fonts-cmu fonts-essays1743 fonts-gnutypewriter \\
        fonts-courier-prime fonts-blankenburg fonts-gamaliel fonts-gotico-antiqua fonts-dkg-handwriting fonts-breip \\
        fonts-gfs-didot fonts-noto-core fonts-hosny-amiri fonts-lohit-deva fonts-arphic-uming fonts-wqy-zenhei \\
        fonts-ipafont-mincho fonts-nanum

All are free (OFL, GPL with the font exception, or Debian's main). UnifrakturMaguntia, the face nearest to old German print, is in
npm's @fontsource/unifrakturmaguntia; put its .woff2 into a folder of your own.
"""

import importlib.util
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import ImageFont, features

from scanned import text
from scanned.text import Language

SUFFIXES = (".ttf", ".otf", ".ttc", ".woff", ".woff2")
FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.local/share/fonts", "~/.fonts", "/Library/Fonts", "~/Library/Fonts")
"""Folders of fonts on Linux and macOS."""
_EUROPEAN = (text.ENGLISH, text.GERMAN, text.FRENCH, text.POLISH)
_NOWHERE = "\ufffe"
"""A code point that no font has: drawn as the font's sign for missing letters."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A script and style of print."""

    weight: float  # how often pages have it
    languages: tuple[Language, ...]
    files: tuple[str, ...]  # names of font files without suffix
    needs_shaping: bool = False  # letters join or change places: only Pillow with Raqm draws them


KINDS = {
    "serif": Kind(
        weight=5,
        languages=_EUROPEAN,
        files=(
            "LiberationSerif-Regular",
            "LiberationSerif-Italic",
            "OldStandard-Regular",
            "OldStandard-Italic",
            "LinLibertine_R",
            "LinLibertine_RI",
            "cmunrm",
            "cmunti",
            "Essays1743",
            "DejaVuSerif",
        ),
    ),
    "sans": Kind(
        weight=2,
        languages=_EUROPEAN,
        files=("LiberationSans-Regular", "LinBiolinum_R", "NotoSans-Regular", "DejaVuSans", "LiberationSans-Bold", "cmunss"),
    ),
    "typewriter": Kind(
        weight=1.5,
        languages=_EUROPEAN,
        files=("Courier Prime", "GNUTypewriter", "LiberationMono-Regular", "cmuntt", "DejaVuSansMono"),
    ),
    "black-letter": Kind(
        weight=4,
        languages=(text.GERMAN,),
        files=("unifrakturmaguntia-latin-400-normal", "Blankenburg_UNZ1A", "Gamaliel", "Jessen-Cicero12"),
    ),
    "handwriting": Kind(weight=1, languages=_EUROPEAN, files=("dkg", "dkgIt", "Breip", "cmunci")),
    "cyrillic": Kind(
        weight=2,
        languages=(text.RUSSIAN,),
        files=("OldStandard-Regular", "LiberationSerif-Regular", "LinLibertine_R", "cmunrm", "NotoSans-Regular", "DejaVuSerif"),
    ),
    "greek": Kind(
        weight=1,
        languages=(text.GREEK,),
        files=("GFSDidot", "GFSDidotItalic", "OldStandard-Regular", "LiberationSerif-Regular", "cmunrm", "DejaVuSerif"),
    ),
    "chinese": Kind(weight=1.5, languages=(text.CHINESE,), files=("uming", "wqy-zenhei")),
    "japanese": Kind(weight=1, languages=(text.JAPANESE,), files=("ipam", "ipamp")),
    "korean": Kind(weight=1, languages=(text.KOREAN,), files=("NanumMyeongjo", "NanumGothic")),
    "arabic": Kind(
        weight=1,
        languages=(text.ARABIC,),
        files=("Amiri-Regular", "Amiri-Bold", "NotoSansArabic-Regular", "DejaVuSans"),
        needs_shaping=True,
    ),
    "devanagari": Kind(
        weight=1,
        languages=(text.HINDI,),
        files=("NotoSerifDevanagari-Regular", "NotoSansDevanagari-Regular", "Lohit-Devanagari"),
        needs_shaping=True,
    ),
}


@dataclass(frozen=True)
class Face:
    """A font file and the languages it can set; `path` None is the font inside Pillow, which has English only."""

    path: Path | None
    languages: tuple[Language, ...]
    has_long_s: bool

    def at(self, size: float) -> ImageFont.FreeTypeFont:
        """The font at a size in pixels."""
        return _font(self.path, round(size, 1))


Faces = dict[str, tuple[Face, ...]]
"""Faces by the names of KINDS; only kinds that have one."""


def find_faces(folders: Sequence[Path] = ()) -> Faces:
    """Faces in `folders`, in the system's folders and in matplotlib; Pillow's own font if there is none."""
    files: dict[str, Path] = {}
    for folder in (*folders, *map(Path, FOLDERS), *_matplotlib()):
        for path in sorted(folder.expanduser().rglob("*")):
            if path.suffix.lower() in SUFFIXES:
                files.setdefault(path.stem, path)
    can_shape = features.check("raqm")
    found = {
        name: tuple(face for stem in kind.files if stem in files and (face := _face(files[stem], kind.languages)).languages)
        for name, kind in KINDS.items()
        if can_shape or not kind.needs_shaping
    }
    return {name: faces for name, faces in found.items() if faces} or {"sans": (Face(None, (text.ENGLISH,), False),)}


def _matplotlib() -> Iterable[Path]:
    """matplotlib's folder of fonts, without importing it; nothing if it is not installed."""
    found = importlib.util.find_spec("matplotlib")
    return [] if found is None or found.origin is None else [Path(found.origin).parent / "mpl-data" / "fonts" / "ttf"]


def _face(path: Path, languages: Iterable[Language]) -> Face:
    """A face with those of the languages whose letters it has."""
    return Face(path, tuple(language for language in languages if _has(path, language.alphabet())), _has(path, "ſ"))


def _has(path: Path, letters: str) -> bool:
    """True if the font draws each letter other than its sign for missing letters."""
    font = _font(path, 24)
    missing = bytes(font.getmask(_NOWHERE))
    return all(bytes(font.getmask(letter)) != missing for letter in letters)


@lru_cache(maxsize=256)
def _font(path: Path | None, size: float) -> ImageFont.FreeTypeFont:
    if path is not None:
        return ImageFont.truetype(path, size)
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont)  # with a size it is one
    return font
