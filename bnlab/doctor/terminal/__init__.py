"""The command line of `bnlab.checkup`: what it is given, what that holds, what it prints and how it ends."""
