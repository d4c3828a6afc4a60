"Programs of the maintainers: speed, studies, model cards, the page of results."
