"""What every floor above agrees on: frames, money, periods, the edge models and the errors."""
