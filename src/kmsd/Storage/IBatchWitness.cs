using Kms.Client.Protocol;

namespace Kmsd.Storage;

/// <summary>What vouches for the database outside of it, and must hear of each change before and after its commit.</summary>
internal interface IBatchWitness
{
    /// <summary>Changes are about to be committed; called only when there are any.</summary>
    /// <exception cref="KmsException">It can't be told: the changes must not be committed.</exception>
    void Announce();

    /// <summary>The commit happened; what was staged is current.</summary>
    /// <param name="isFull">It is on the disk.</param>
    /// <exception cref="KmsException">It can't be told now: the changes stand, and aren't vouched for yet.</exception>
    void Confirm(bool isFull);

    /// <summary>The last commit happened, and it is on the disk.</summary>
    void Close();
}
