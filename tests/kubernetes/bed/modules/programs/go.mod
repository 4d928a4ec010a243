module podfence.test/bed/programs

go 1.25.0
