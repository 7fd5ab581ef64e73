"""Everything that must not be lost: tables, sessions, migrations, and one module of queries per noun.

Queries take a connection and return domain values, never rows of the mapper.
"""
