"""Dynamic time warping: costs, windows, paths, search, lower bounds and soft-DTW."""
