"""Floor 2: files in, tensors and grids out; domains, volumes, the working grid and the streams of slices."""
