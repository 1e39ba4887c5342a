"""What the Learn page is made of: small computations, exercises, links into the Lab, and one component."""
