/* oneDNN behind a narrow door (see onednn.h). */
#include "cpu/onednn.h"

int  onednn_lane_begin(void) { return 0; }
void onednn_lane_end(int before) { (void)before; }
