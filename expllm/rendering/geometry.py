"""Compiled loops over geometry: normals of points, triangles to depth, how open a place lies."""

import numpy as np
from numba import njit

BEHIND = np.float32(-1e9)
"""Depth of a pixel that nothing covers; nearer is larger."""
NOTHING = np.int32(-1)
"""Triangle number of a pixel that nothing covers."""

_AO_TAPS = 14


@njit(cache=True, fastmath=True, nogil=True)
def normals(points, triangles):
    """Unit normals at the points; each triangle weighs by its area."""
    sums = np.zeros_like(points)
    for t in range(triangles.shape[0]):
        i, j, k = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        ax, ay, az = points[j, 0] - points[i, 0], points[j, 1] - points[i, 1], points[j, 2] - points[i, 2]
        bx, by, bz = points[k, 0] - points[i, 0], points[k, 1] - points[i, 1], points[k, 2] - points[i, 2]
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for p in (i, j, k):
            sums[p, 0] += nx
            sums[p, 1] += ny
            sums[p, 2] += nz
    for p in range(sums.shape[0]):
        length = np.sqrt(sums[p, 0] ** 2 + sums[p, 1] ** 2 + sums[p, 2] ** 2) + np.float32(1e-9)
        sums[p] /= length
    return sums


@njit(cache=True, fastmath=True, nogil=True)
def raster(screen, triangles, cull, depth, ids):
    """Write each pixel's nearest triangle and its depth; `screen` is x, y in pixels and nearness.

    `cull` leaves out the triangles that are seen from behind.
    """
    height, width = depth.shape
    for t in range(triangles.shape[0]):
        x0, y0, z0 = screen[triangles[t, 0]]
        x1, y1, z1 = screen[triangles[t, 1]]
        x2, y2, z2 = screen[triangles[t, 2]]
        area = (y1 - y2) * (x0 - x2) + (x2 - x1) * (y0 - y2)
        if abs(area) < 1e-9 or (cull and area > 0):
            continue
        left, right = max(int(min(x0, x1, x2)), 0), min(int(max(x0, x1, x2)) + 1, width)
        top, bottom = max(int(min(y0, y1, y2)), 0), min(int(max(y0, y1, y2)) + 1, height)
        a_dx, b_dx = (y1 - y2) / area, (y2 - y0) / area
        a_dy, b_dy = (x2 - x1) / area, (x0 - x2) / area
        for y in range(top, bottom):
            dy = y + np.float32(0.5) - y2
            dx = left + np.float32(0.5) - x2
            a = a_dx * dx + a_dy * dy
            b = b_dx * dx + b_dy * dy
            for x in range(left, right):
                if a >= 0 and b >= 0 and a + b <= 1:
                    z = a * z0 + b * z1 + (1 - a - b) * z2
                    if z > depth[y, x]:
                        depth[y, x] = z
                        ids[y, x] = t
                a += a_dx
                b += b_dx


@njit(cache=True, fastmath=True, nogil=True)
def openness(depth, radius_px):
    """How open to ambient light each pixel is, 0..1, from the depth around it; every other pixel only."""
    height, width = depth.shape[0] // 2, depth.shape[1] // 2
    result = np.ones((height, width), np.float32)
    reach = np.float32(0.16)
    for y in range(height):
        for x in range(width):
            here = depth[2 * y, 2 * x]
            if here == BEHIND:
                continue
            hidden = np.float32(0)
            for k in range(_AO_TAPS):
                share = np.float32(k + 1) / _AO_TAPS
                angle = np.float32(6.2832 * 0.618) * k
                u = min(max(int(2 * x + np.cos(angle) * share * radius_px), 0), 2 * width - 1)
                v = min(max(int(2 * y + np.sin(angle) * share * radius_px), 0), 2 * height - 1)
                rise = depth[v, u] - here - np.float32(0.012)
                if 0 < rise < 0.5:
                    hidden += min(rise / (reach * share * np.float32(0.9) + np.float32(0.02)), 1)
            result[y, x] = 1 - min(hidden / _AO_TAPS * np.float32(1.25), np.float32(0.8))
    return result
