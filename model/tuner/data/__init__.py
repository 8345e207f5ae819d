"""Data of the tuner: public sets become rows, rows are cleaned, and what reports are made of is kept out."""
