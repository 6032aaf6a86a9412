class Authorities:
    pass
