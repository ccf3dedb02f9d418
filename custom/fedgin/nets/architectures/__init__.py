"""The networks that an experiment can name: one file a family, each with its parameters and how it is built."""
