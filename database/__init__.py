"""PostgreSQL through SQLAlchemy: one file for each noun, its tables at the top, its queries below."""
