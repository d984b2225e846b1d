"""``python -m polymodel.models`` prints the table of docs/models.md."""

from polymodel.models.table import table

if __name__ == "__main__":
    print(table(), end="")
