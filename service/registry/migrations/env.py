"""What Alembic runs for every command: in the transaction of its caller, see `migration`."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
context.run_migrations()
