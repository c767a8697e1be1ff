"""What acts: the acting half of a module, in numpy where that is faster than torch."""
