"""Frozen values without input and output: what is asked for, offered, launched and said."""
