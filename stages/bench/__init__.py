"""How fast it is: a module per benchmark, each a JSON file in results/bench, and one table."""
