"""Functions of the user's that pyfork calls: which there are, where each runs, and what its exception stops."""
