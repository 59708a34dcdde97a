"""The commands of people who train; imported when one of them is called."""
