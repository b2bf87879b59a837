# placeholder by the lead until helper E writes this file (overwrite me)
def edge_score(image, edges):
    import cv2, numpy as np
    found = cv2.Canny(image, 100, 200)
    near = cv2.dilate(found, np.ones((5, 5), np.uint8)) > 0
    lines = edges > 0
    chance = near.mean()
    return float((near[lines].mean() - chance) / max(1 - chance, 1e-6))
