"""What users are promised, end to end, with real nodes."""
