"""Real servers on a developer's machine: PostgreSQL and Temporal from wheels, as child processes of ours."""
