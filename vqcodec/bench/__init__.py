"""The bench: codecs compared on the same images by rate, distortion and speed. `run.run_bench` is the way in."""
