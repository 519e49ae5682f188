"""Figures for papers: data from the store in one module each, drawn by `drawing` with matplotlib (extra `plots`)."""
