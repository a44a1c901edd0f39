"""One way to make pictures: for previews in training, for the Sample tab and for generate jobs."""
