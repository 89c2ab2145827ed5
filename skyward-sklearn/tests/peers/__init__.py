"""Other projects' own tests, run against what of ours takes their part."""
