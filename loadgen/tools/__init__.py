"""The same scenario in other load tools; README.md beside this says what each is good for."""
