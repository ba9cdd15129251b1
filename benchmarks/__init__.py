"""What we measure, one file per measure, each against a floor measured in the same run. Start with `make bench`."""
