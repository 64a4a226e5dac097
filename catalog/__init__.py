"""The price book and the roster: read from files, checked, compared and frozen into versions. Knows no usage."""
