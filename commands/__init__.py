"""The commands of `boss`, a module for each part of the work. Each parses, calls one function of pipelines/, and prints."""
