"Solutions and marks of the course: python -m dpcdvae.course"

from dpcdvae.course.grading import main

if __name__ == "__main__":
    main()
