"""The program: settings, composition root, command line and the embedded stack of `perennial up`."""
