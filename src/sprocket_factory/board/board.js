// What scripts add to the pages of the board. Without it everything can be read.
