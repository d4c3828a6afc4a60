"The site, the slides and the printable figures: everything that is made from the notebooks to be read."
