"""The command line: `enet` and its subcommands."""
