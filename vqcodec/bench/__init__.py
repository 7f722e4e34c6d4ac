"""The bench: compares codecs on the same images by rate, distortion and speed. Start reading at `run.run_bench`."""
