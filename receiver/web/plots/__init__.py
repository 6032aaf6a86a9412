"""Plots drawn on the server: numbers in, SVG out, with words for those who do not see it."""
