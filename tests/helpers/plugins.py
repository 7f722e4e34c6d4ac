"""Registration of the plugins, which other libraries find by entry points where vqcodec is installed."""

from importlib.util import find_spec


def register_plugins() -> None:
    """Register the codecs of chunks with the libraries that are installed."""
    if find_spec("numcodecs"):
        import numcodecs.registry

        from vqcodec.plugins import numcodecs as of_numcodecs

        numcodecs.registry.register_codec(of_numcodecs.VqzCodec)
    if find_spec("zarr"):
        import zarr.registry

        from vqcodec.plugins import zarr as of_zarr

        zarr.registry.register_codec(of_zarr.NAME, of_zarr.VqzCodec)
