class Progress:
    def observe_many(self, l):
        pass

    def estimate(self, p):
        return None
