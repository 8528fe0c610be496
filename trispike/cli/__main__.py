"""``python -m trispike.cli``, for where the script is not on the path."""

from trispike.cli.app import main

main()
