"""The command `robi`: a file for each kind of work, which `main` puts together."""
