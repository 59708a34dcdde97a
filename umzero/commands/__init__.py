"""The commands of people who classify; imported when one of them is called."""
