"""Parsers of option values."""

from vqcodec.cli.options import size_of


def test_sizes() -> None:
    assert [size_of(text) for text in ("20000", "5B", "20k", "20K", "20kB", "20KiB")] == [
        20_000,
        5,
        *[20_000] * 3,
        20_480,
    ]
    assert [size_of(text) for text in ("1.5M", "2MiB")] == [1_500_000, 2 << 20]
